//! Black-box harness: it plays the other side against anyone's endpoint, and knows nothing of our own server,
//! store or exchange, so that what it says is worth something.

pub mod platform;
