"""The CNI plugin: container runtimes attach their containers to tenants' networks through the node's API."""
