//! The high-water mark: how far the audit record had come, kept where no backup of the database
//! has it. A database that is behind it was restored, and has forgotten what it answered.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file in the secrets folder.
#[derive(Clone, Debug)]
pub struct Mark(PathBuf);

impl Mark {
    /// The mark in this secrets folder.
    pub fn of(secrets: &Path) -> Mark {
        Mark(secrets.join("high-water"))
    }

    /// The last entry of the audit record that it knows of; 0 where there is no mark yet.
    ///
    /// # Errors
    /// What the system says; a file that holds no number is [`io::ErrorKind::InvalidData`].
    pub fn read(&self) -> io::Result<i64> {
        match fs::read_to_string(&self.0) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Sets it, durably and whole. What it says must be durable in the database already.
    ///
    /// # Errors
    /// What the system says; the mark is then as it was.
    pub fn write(&self, last_audit: i64) -> io::Result<()> {
        let new = self.0.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{last_audit}")?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        File::open(self.0.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mark_is_kept_and_a_damaged_one_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let mark = Mark::of(folder.path());
        assert_eq!(mark.read().unwrap(), 0);
        mark.write(41).unwrap();
        mark.write(42).unwrap();
        assert_eq!(mark.read().unwrap(), 42);
        fs::write(folder.path().join("high-water"), "").unwrap();
        assert_eq!(mark.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
