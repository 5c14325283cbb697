//! The built-in models' meanings, one type each.

pub use super::append::AppendList;
pub use super::counter::Counter;
pub use super::fifo_queue::FifoQueue;
pub use super::kv::Kv;
pub use super::multi_register::MultiRegister;
pub use super::mutex::Mutex;
pub use super::register::Register;
pub use super::set::Set;
pub use super::unordered_queue::UnorderedQueue;
