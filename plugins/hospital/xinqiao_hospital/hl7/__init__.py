"""HL7 v2.5.1 over MLLP: REF^I12 out, RRI^I12 and ORU^R01 back."""
