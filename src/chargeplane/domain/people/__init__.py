"""People: drivers whom stations charge, users who work with the installation, and how both prove who they are."""
