"""Service discovery: announcements with health, the catalog of instances, and DNS for containers."""
