"""Networks, and what turns a network into an action s_t(x)."""
