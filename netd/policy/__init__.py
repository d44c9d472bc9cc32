"""Who may speak to whom inside a tenant: the decision, its explanation, its nftables, and what it takes back."""
