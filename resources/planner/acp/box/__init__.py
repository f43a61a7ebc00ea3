"""The sandbox of an agent, and the only two ways out of it: the model's proxy and the tool that takes the plan."""
