"""Words between processes: messages, their encoding, and the descriptors they travel over."""
