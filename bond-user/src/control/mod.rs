pub mod announce;
pub mod packet;
