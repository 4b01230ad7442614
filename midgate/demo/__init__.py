"""The demonstration: a scan file through a real broker to three tenants, and a recount."""
