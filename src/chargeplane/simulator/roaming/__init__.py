"""A roaming partner over the wire, in any version of OCPI, that misbehaves when told to."""
