"""Money from and to providers: one port, one adapter a provider, the webhooks they call."""
