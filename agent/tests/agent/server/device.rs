//! The device's epochs and trades, as the server knows them.

use super::*;

impl Device {
    pub(super) fn open_epoch(
        &mut self,
        envelope: &Envelope,
        encryption: &P256Private,
        kem: &KemPrivate,
    ) -> Result<(), Reason> {
        let epoch = envelope.route.epoch;
        if self.epochs.contains_key(&epoch) {
            return Ok(());
        }
        let verified = VerifiedEpochOpen::verify(&self.bond, envelope)?;
        let chain = self.chain.ratchet(epoch)?;
        let open = verified.open(&chain)?;
        let extra_data = open.extra_data(&self.bond, envelope.route.sequence, epoch);
        let (attest, signature) = open.attest.as_ref().ok_or(Reason::WrongShape)?;
        let word = Certification { attest, signature };
        let (srk, signing) = (&self.srk_name, &self.signing_name);
        verify_epoch_attest(&self.ak_public, srk, signing, word, &extra_data)?;
        let ecdh = encryption.agree(&open.epoch_key)?;
        let kem = kem.decapsulate(&open.kem_ciphertext)?;
        self.epochs.insert(epoch, verified.keys(&chain, &ecdh, &kem));
        self.chain_keys.push(chain.key().expose().to_vec());
        self.chain = chain;
        (self.sealed, self.down_seq) = (None, 0);
        Ok(())
    }

    pub(super) fn receive(&mut self, content: Content, outer: Outer, reply_prefix: Option<&[u8]>) {
        let known = self.trades.entry(content.trade).or_insert_with(|| Known {
            trade: Trade::heard(&content, Direction::Down, outer),
            rows: BTreeMap::new(),
            delivered: vec![],
            receipt: None,
        });
        let number = content.index.number();
        let hash = known.rows.get(&number).map(|row| match row {
            Row::Message(content) => content.inner_hash(Direction::Up),
            Row::Withdrawn(hash) => *hash,
        });
        if known.trade.receive(&content, outer, hash).unwrap() == Received::Again {
            return;
        }
        if content.message_type == MessageType::Withdraw {
            for message in twinseal_scheme::trade::Withdraw::of(&content).unwrap().messages() {
                let row = Row::Withdrawn(message.hash);
                known.rows.entry(message.index.number()).or_insert(row);
            }
        }
        known.rows.insert(number, Row::Message(content));
        while let Some(row) = known.trade.next_index().and_then(|i| known.rows.get(&i.number())) {
            known.trade.pass(row).unwrap();
            let Row::Message(content) = row else { continue };
            if content.message_type == MessageType::Receipt {
                known.receipt = Some(content.payload.clone());
            }
            if content.message_type.is_for_application() {
                known.delivered.push(content.payload.clone());
            }
            if let (MessageType::Request, Some(prefix)) = (content.message_type, reply_prefix) {
                let payload = [prefix, &content.payload].concat();
                let reply = known.trade.reply("text/plain", payload).unwrap();
                self.downlinks.push_back((outer, reply));
            }
        }
        if known.trade.due() == Some(Due::Close) {
            let contents = known.trade.close(&[]).unwrap();
            self.downlinks.extend(contents.into_iter().map(|content| (outer, content)));
        }
    }

    pub(super) fn downlink(
        &mut self,
        keys: &EpochKeys,
        signing: &SigningKey,
    ) -> Result<Answer, Reason> {
        let Some((outer, content)) = self.downlinks.front() else { return Ok(Answer::Nothing) };
        if let Some((epoch, envelope)) = &self.sealed
            && *epoch == keys.epoch
        {
            return Ok(Answer::Downlink(envelope.clone()));
        }
        self.down_seq += 1;
        let envelope = seal(&self.bond, keys, *outer, self.down_seq, content, signing)?;
        self.sent_down.push(envelope.clone());
        self.sealed = Some((keys.epoch, envelope.clone()));
        Ok(Answer::Downlink(envelope))
    }

    pub(super) fn acknowledge(&mut self, trade: TradeId, index: u32) {
        let is_it = |content: &Content| content.trade == trade && content.index.number() == index;
        let is_heard = !self.is_deaf;
        if is_heard && self.downlinks.front().is_some_and(|(_, content)| is_it(content)) {
            self.downlinks.pop_front();
            self.sealed = None;
        }
    }

    /// A content that waits to be fetched, taken out, for an application's own transport.
    pub fn seal_next(&mut self, server: &SigningKey) -> Vec<u8> {
        let (outer, content) = self.downlinks.pop_front().unwrap();
        let keys = self.epochs.last_key_value().unwrap().1;
        self.down_seq += 1;
        seal(&self.bond, keys, outer, self.down_seq, &content, server).unwrap()
    }

    /// What the chip has had to open, of every message down.
    pub fn encapsulations(&self) -> Vec<Encapsulation> {
        let encapsulation = |envelope: &Vec<u8>| {
            let envelope = Envelope::decode(envelope).unwrap();
            let keys = self.epochs.get(&envelope.route.epoch).unwrap();
            let opening = DownOpening::begin(&self.bond, keys, &envelope).unwrap();
            opening.encapsulation().clone()
        };
        self.sent_down.iter().map(encapsulation).collect()
    }

    pub fn open_trade(&mut self, kind: Kind, payload: &[u8], outer: Outer) -> TradeId {
        let mut id = TradeId([0; 16]);
        OsRng.fill_bytes(&mut id.0);
        let service = Service::new(crate::world::SERVICE).unwrap();
        let (trade, content) = match kind {
            Kind::Trade => Trade::open(id, service, Direction::Down, outer).unwrap(),
            Kind::Exchange => {
                let down = Direction::Down;
                Trade::request(id, service, down, outer, "", payload.to_vec()).unwrap()
            }
        };
        let known = Known { trade, rows: BTreeMap::new(), delivered: vec![], receipt: None };
        self.trades.insert(id, known);
        self.downlinks.push_back((outer, content));
        id
    }

    pub fn send(&mut self, id: TradeId, payload: &[u8]) {
        let known = self.trades.get_mut(&id).unwrap();
        let content = known.trade.data("", payload.to_vec()).unwrap();
        self.downlinks.push_back((known.trade.outer(), content));
    }

    pub fn close(&mut self, id: TradeId) {
        let known = self.trades.get_mut(&id).unwrap();
        let contents = known.trade.close(&[]).unwrap();
        let outer = known.trade.outer();
        self.downlinks.extend(contents.into_iter().map(|content| (outer, content)));
    }

    /// What the back end has got of a trade, in order.
    pub fn delivered(&self, id: TradeId) -> Vec<Vec<u8>> {
        self.trades.get(&id).map(|known| known.delivered.clone()).unwrap_or_default()
    }

    pub fn trade(&self, id: TradeId) -> &Trade {
        &self.trades.get(&id).unwrap().trade
    }

    /// The receipt that came back, verified.
    pub fn receipt(&self, id: TradeId) -> Option<SignedReceipt> {
        let receipt = self.trades.get(&id)?.receipt.as_ref()?;
        Some(SignedReceipt::verify(receipt, &self.bond.server_id).unwrap())
    }

    /// Once the trade has been opened, these bytes are sent down, and it is closed.
    pub fn expect(&mut self, id: TradeId, payload: &[u8]) {
        self.expected = Some((id, payload.to_vec()));
    }

    pub(super) fn do_expected(&mut self) {
        let is_open = |(id, _): &mut (TradeId, Vec<u8>)| {
            self.trades.get(id).is_some_and(|known| !known.delivered.is_empty())
        };
        if let Some((id, payload)) = self.expected.take_if(is_open) {
            self.send(id, &payload);
            self.close(id);
        }
    }

    pub fn epoch(&self) -> u64 {
        *self.epochs.last_key_value().unwrap().0
    }

    /// How many downlinks wait to be fetched or acknowledged.
    pub fn waiting(&self) -> usize {
        self.downlinks.len()
    }
}

fn seal(
    bond: &Bond,
    keys: &EpochKeys,
    outer: Outer,
    seq: u32,
    content: &Content,
    signing: &SigningKey,
) -> Reply {
    let encoded = content.encode();
    let unsigned = seal_down(bond, keys, outer, seq, &encoded);
    let signature = signing.sign(unsigned.to_sign())?;
    unsigned.finish(&signature, &mut OsRng)
}
