//! One rule broken at a time, to see that the model notices.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// The server knows a message by (epoch, seq) alone, not by its index.
    DedupesBySeqOnly,
    /// The device knows a down-message by its envelope alone, not by its index.
    DedupesDownByEnvelope,
    /// An epoch-open is put before the envelopes of the epoch before it.
    OpenJumpsQueue,
    /// The courier carries two envelopes of the outbox at once.
    OutboxInParallel,
    /// The device acknowledges a down-message before it is durable.
    AcksBeforeHandOver,
    /// The device seals anew under the same sequence number when it sends again.
    ReusesSeq,
    /// The device believes an answer that nothing authenticates.
    TrustsAnyAnswer,
    /// The record of the counter is written after the chip has counted.
    CountsFirst,
    /// The server forgets a trade as soon as it has ended.
    ForgetsEnded,
    /// A close does not withdraw what applications carry themselves.
    ClosesLoose,
    /// A message before its turn is refused, not kept.
    RefusesEarly,
    /// An epoch-open is dropped although applications carry envelopes of its epoch.
    DropsOpenInUse,
}
