//! Where a process dies: between any two durable writes.

/// The process has died. What was not durable is lost.
#[derive(Debug)]
pub struct Crash;

/// Burns at every point where dying makes a difference; at zero the process dies.
#[derive(Debug)]
pub struct Fuse(Option<u8>);

impl Fuse {
    pub fn of(steps: Option<u8>) -> Fuse {
        Fuse(steps)
    }

    pub fn never() -> Fuse {
        Fuse(None)
    }

    pub fn burn(&mut self) -> Result<(), Crash> {
        match &mut self.0 {
            None => Ok(()),
            Some(0) => Err(Crash),
            Some(steps) => {
                *steps -= 1;
                Ok(())
            }
        }
    }
}
