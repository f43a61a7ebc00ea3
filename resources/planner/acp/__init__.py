"""Plans by coding agents over the Agent Client Protocol, each agent in a sandbox without a network."""
