//! What a request may cost at most, and what an answer says that it used.
