//! Which way a message goes.

use crate::Reason;

/// From the device to the server, or the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Device to server.
    Up = 0,
    /// Server to device.
    Down = 1,
}

impl Direction {
    /// The number on the wire and in every hash.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The direction of a number.
    ///
    /// # Errors
    /// [`Reason::WrongShape`] for any other number.
    pub fn of_number(number: u8) -> Result<Direction, Reason> {
        match number {
            0 => Ok(Direction::Up),
            1 => Ok(Direction::Down),
            _ => Err(Reason::WrongShape),
        }
    }

    /// The other way.
    pub fn back(self) -> Direction {
        match self {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }
}
