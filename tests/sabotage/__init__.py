"""Controls that must not go missing: each is taken out, one at a time, and its tests must go red."""
