"""What is ours as canonical OCPI documents (2.3.0), and what partners ask of us as the domain's words."""
