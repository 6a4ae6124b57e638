"""Where images come from: archives, packages, folders and photographs; may reach the network."""
