//! How each chat app spells a link, and what comes back of it: pure text.
