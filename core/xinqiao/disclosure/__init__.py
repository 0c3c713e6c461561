"""The one door: who may see what, why, under which consent or law; and the only way a record leaves."""
