//! Mutations that are the same at every run.

/// Changes bytes a little: a splitmix64 generator chooses how.
pub struct Mutations {
    state: u64,
    pool: Vec<Vec<u8>>,
}

/// Numbers that begin or end something somewhere.
const EDGES: [u8; 12] = [0x00, 0x01, 0x17, 0x18, 0x1f, 0x40, 0x7f, 0x80, 0x81, 0x9f, 0xf6, 0xff];
const LEN_MAX: usize = 1 << 16;

impl Mutations {
    /// Of these bytes, which may not be none; another sequence for every seed.
    pub fn of(pool: Vec<Vec<u8>>, seed: u64) -> Self {
        assert!(!pool.is_empty());
        Mutations { state: seed, pool }
    }

    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    fn any(&mut self) -> Vec<u8> {
        let at = self.below(self.pool.len());
        self.pool[at].clone()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let upto = (at + 1 + self.below(16)).min(bytes.len());
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = EDGES[self.below(EDGES.len())],
            2 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(self.number() as u8 | 1),
            3 => bytes.insert(at, self.number() as u8),
            4 if at < bytes.len() => drop(bytes.drain(at..upto)),
            5 if at < bytes.len() => {
                let copy = bytes[at..upto].to_vec();
                let to = self.below(bytes.len());
                drop(bytes.splice(to..to, copy));
            }
            6 => bytes.truncate(at),
            7 => {
                let other = self.any();
                let from = self.below(other.len());
                bytes.truncate(at);
                bytes.extend(&other[from.min(other.len())..]);
            }
            _ => bytes.extend((0..self.below(9)).map(|_| 0)),
        }
        bytes.truncate(LEN_MAX);
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.any();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        Some(bytes)
    }
}
