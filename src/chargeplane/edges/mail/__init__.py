"""Mails out of the house: into a folder, or to a mail server."""

from chargeplane.edges.mail.folder import MailFolder
from chargeplane.edges.mail.smtp import SmtpConfig, SmtpDoor, SmtpSecurity

__all__ = ["MailFolder", "SmtpConfig", "SmtpDoor", "SmtpSecurity"]
