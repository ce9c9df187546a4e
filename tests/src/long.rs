//! Frames longer than a [`crate::Flow`] has.

use std::thread;

use anyhow::{Result, ensure};

use crate::{ETHERTYPE, Mac, PacketSocket, Port};

/// Bytes of the Ethernet header.
const HEADER: usize = 14;
const FRAMES: u8 = 200;

/// Sends 200 frames of `payload` bytes beside the header from one netdev to another, one after the other, each of other
/// bytes. Fails unless each arrives as it was sent, and nothing else.
pub fn pass(payload: usize, from: &Port, to: &Port, destination: Mac) -> Result<()> {
    let (sender, receiver) = (from.packet_socket(ETHERTYPE)?, to.packet_socket(ETHERTYPE)?);
    let length = HEADER + payload;
    for number in 0..FRAMES {
        let mut frame = vec![number; length];
        frame[..6].copy_from_slice(&destination.0);
        frame[12..HEADER].copy_from_slice(&ETHERTYPE.to_be_bytes());
        ensure!(sender.send(&frame)?, "no room for frame {number}");
        let received = next(&receiver, length)?;
        ensure!(received == frame, "frame {number} came as {} other bytes", received.len());
    }
    thread::sleep(PacketSocket::PATIENCE);
    ensure!(next(&receiver, length)?.is_empty(), "more frames came than were sent");
    Ok(())
}

/// The next frame; empty after half a second without one.
fn next(receiver: &PacketSocket, length: usize) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 2 * length];
    for _ in 0..25 {
        if let Some(length) = receiver.receive(&mut buffer)? {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
    Ok(Vec::new())
}
