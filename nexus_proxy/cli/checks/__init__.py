"""What `nexus doctor` looks at: one module per subject, each with functions that yield findings."""
