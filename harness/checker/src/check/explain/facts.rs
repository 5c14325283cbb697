//! What the history says about operations beside what they did.

/// Looks up operations by [`crate::ops::Op::number`]. What is not known is `None`.
pub trait Facts {
    /// The client's number in the history.
    fn client(&self, number: u32) -> u64;

    /// When it was invoked, in nanoseconds since the run began.
    fn invoked_ns(&self, number: u32) -> Option<u64>;

    /// When it completed; none if it never did, or if that says nothing about its outcome.
    fn completed_ns(&self, number: u32) -> Option<u64>;

    /// The node that answered.
    fn node(&self, _number: u32) -> Option<u64> {
        None
    }

    /// The role in which that node answered, as it believed.
    fn role(&self, _number: u32) -> Option<&str> {
        None
    }

    /// The term in which that node was, as it believed.
    fn term(&self, _number: u32) -> Option<u64> {
        None
    }

    /// Why it failed, or why its outcome is unknown.
    fn error(&self, _number: u32) -> Option<&str> {
        None
    }

    /// The request, as the history names it.
    fn request(&self, _number: u32) -> Option<&str> {
        None
    }

    /// The indexes of its events in the history.
    fn events(&self, _number: u32) -> Vec<u64> {
        Vec::new()
    }
}
