"""What the descriptors say: field classes, validation, canonical form; and the words refusals are made of."""
