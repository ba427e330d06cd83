"""Methods that learn dynamics from snapshots, and the controls that bound them: one file each."""
