//! The hash of the state: what lets two replicas be compared at equal applied index.
//!
//! The state is a set of facts ("key k has value v", "request r was answered w", …). The hash is the wrapping sum of
//! one well-mixed 64-bit number per fact, so it does not depend on the order in which facts came about, and changes
//! in O(1) when one does. Digests of texts are streaming, so that an append digests only what it appends.
//!
//! Everything here is fixed for good (FNV-1a, and the finaliser of `SplitMix64`): nodes of different builds compare
//! their hashes. It guards against mistakes, not against someone who builds collisions.

/// FNV-1a of some bytes, 64 bits; more bytes may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    const PRIME: u64 = 0x0100_0000_01b3;

    /// Of no bytes.
    pub(super) const EMPTY: Digest = Digest(0xcbf2_9ce4_8422_2325);

    /// Of a text.
    pub(super) fn of(text: &str) -> Digest {
        Digest::EMPTY.followed_by(text)
    }

    /// Of what this is the digest of, and then `text`.
    pub(super) fn followed_by(self, text: &str) -> Digest {
        Digest(
            text.bytes()
                .fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(Digest::PRIME)),
        )
    }

    /// As one of the words of a [`fact`].
    pub(super) fn word(self) -> u64 {
        self.0
    }
}

/// First words of facts: of which kind one is.
pub(super) mod kind {
    /// A key has a value.
    pub(crate) const VALUE: u64 = 1;
    /// A client has a session.
    pub(crate) const SESSION: u64 = 2;
    /// A request was answered.
    pub(crate) const ANSWER: u64 = 3;
    /// Clients born before may have had a session.
    pub(crate) const BIRTHS_EXPIRED: u64 = 4;
}

/// One fact as a number; the first word is its [`kind`].
pub(super) fn fact<const N: usize>(words: [u64; N]) -> u64 {
    words.into_iter().fold(0x9e37_79b9_7f4a_7c15, |hash, word| {
        let mut z = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_the_published_fnv1a() {
        assert_eq!(Digest::of("").word(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Digest::of("a").word(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Digest::of("foobar").word(), 0x8594_4171_f739_67e8);
        assert_eq!(Digest::of("foo").followed_by("bar"), Digest::of("foobar"));
    }

    #[test]
    fn fact_stays_as_it_was_in_older_builds() {
        // Replicas of different builds compare hashes: if this number changes, so does the protocol.
        assert_eq!(fact([1, 2, 3]), 5_246_500_226_706_903_259);
        assert_ne!(fact([1, 2, 3]), fact([1, 3, 2]));
        assert_ne!(fact([0]), fact([0, 0]));
    }
}
