"""The edge: one generic handler for every RPC, built from the service descriptors."""
