pub mod ethtool;
pub mod settings;
pub mod state_file;
