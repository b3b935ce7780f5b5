"""FTP for stations that transfer files in no other way: one-time credentials, passive mode only, off unless a port is set."""

from chargeplane.edges.ftp.server import FtpConfig, FtpServer

__all__ = ["FtpConfig", "FtpServer"]
