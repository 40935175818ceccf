//! Names: who an object is, and where in its hierarchy it hangs (Part 1, section 16).

use std::fmt;

use super::HashAlgorithm;

/// The Name of an object: its name algorithm's identifier and the digest of its public
/// area, `u16 || digest`, 34 or 50 bytes.
///
/// Computed by [`Public::name`](super::Public::name); [`Name::from_trusted`] is for one
/// that was computed before and kept in a database. Its `Debug` shows no more than the
/// algorithm, since the Name of an endorsement key names a device.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// A Name that this side computed earlier and stored. `None` if it is not one.
    pub fn from_trusted(bytes: &[u8]) -> Option<Self> {
        let (id, digest) = bytes.split_first_chunk::<2>()?;
        [HashAlgorithm::Sha256, HashAlgorithm::Sha384]
            .into_iter()
            .find(|hash| hash.id().to_be_bytes() == *id && hash.digest_len() == digest.len())
            .map(|_| Name(bytes.to_vec()))
    }

    /// The bytes: algorithm identifier and digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn of(hash: HashAlgorithm, public_area: &[u8]) -> Self {
        Name([&hash.id().to_be_bytes()[..], &hash.digest(&[public_area])].concat())
    }

    /// The algorithm that made this Name; both ways to make one admit no other than two.
    fn hash(&self) -> HashAlgorithm {
        match self.0.len() {
            50 => HashAlgorithm::Sha384,
            _ => HashAlgorithm::Sha256,
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", self.hash())
    }
}

/// The root that a primary object hangs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// TPM_RH_OWNER: storage, gone after TPM2_Clear.
    Owner,
    /// TPM_RH_ENDORSEMENT: identity, gone only when the endorsement seed changes.
    Endorsement,
}

impl Hierarchy {
    /// The permanent handle (Part 2, section 7.4).
    pub fn handle(self) -> u32 {
        match self {
            Hierarchy::Owner => 0x4000_0001,
            Hierarchy::Endorsement => 0x4000_000b,
        }
    }
}

/// The qualified Name of an object: its Name joined with those of all its ancestors, up
/// to the hierarchy. Two objects with one public area but other parents differ in it.
#[derive(Clone, PartialEq, Eq)]
pub struct QualifiedName(Vec<u8>);

impl QualifiedName {
    /// Of a primary object: `H(handle || Name)` with the object's name algorithm.
    pub fn primary(hierarchy: Hierarchy, name: &Name) -> Self {
        qualify(&hierarchy.handle().to_be_bytes(), name)
    }

    /// Of a child of the object that has this qualified Name.
    pub fn child(&self, name: &Name) -> Self {
        qualify(&self.0, name)
    }

    /// The bytes: algorithm identifier and digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QualifiedName(..)")
    }
}

fn qualify(parent: &[u8], name: &Name) -> QualifiedName {
    let hash = name.hash();
    let digest = hash.digest(&[parent, name.as_bytes()]);
    QualifiedName([&hash.id().to_be_bytes()[..], &digest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_taken_for_names() {
        let name = Name::of(HashAlgorithm::Sha384, b"area");
        assert_eq!(Name::from_trusted(name.as_bytes()), Some(name.clone()));
        assert_eq!(Name::from_trusted(&name.as_bytes()[..49]), None);
        assert_eq!(Name::from_trusted(&[&[0, 4][..], &[0; 20]].concat()), None);
        assert_eq!(Name::from_trusted(&[]), None);
    }

    #[test]
    fn a_qualified_name_tells_hierarchies_and_parents_apart() {
        let name = Name::of(HashAlgorithm::Sha256, b"area");
        let owner = QualifiedName::primary(Hierarchy::Owner, &name);
        let endorsement = QualifiedName::primary(Hierarchy::Endorsement, &name);
        assert_ne!(owner, endorsement);
        assert_ne!(owner.child(&name), owner);
        assert_ne!(owner.child(&name), endorsement.child(&name));
        let preimage = [&[0x40, 0, 0, 1][..], name.as_bytes()].concat();
        let expected = [&[0, 0x0b][..], &crate::secret::sha256(&[&preimage])].concat();
        assert_eq!(owner.as_bytes(), expected);
    }
}
