"""For tests of XinQiao and of its plugins."""
