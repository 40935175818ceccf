//! A trade with messages both ways, and the ledgers that both ends keep of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::ground::{Ground, SERVICE};

/// Messages in each direction.
const MESSAGES: u64 = 3;

impl Ground {
    /// Trades, and closes the trade. Whatever happens meanwhile, each message arrives once, in
    /// its place, and both ends hold one receipt.
    pub fn trade(&mut self, number: u32) {
        let trade = self.open(number);
        self.talk(&trade, number);
        self.close(&trade, number);
    }

    /// Opens a trade. Where the answer is lost the application looks whether it has one more.
    fn open(&mut self, number: u32) -> String {
        let outer = if number.is_multiple_of(2) { "serial" } else { "key" };
        let before = self.until("a list", |ground| ground.app.trades().ok());
        let mut is_in_doubt = false;
        let trade = self.until("opened", |ground| {
            if is_in_doubt {
                let trades = ground.app.trades().ok()?;
                is_in_doubt = false;
                return trades.difference(&before).next().cloned();
            }
            let opened = ground.app.open(SERVICE, outer);
            is_in_doubt = opened.is_err();
            opened.ok()
        });
        let after = self.until("a list", |ground| ground.app.trades().ok());
        let new: Vec<_> = after.difference(&before).collect();
        assert_eq!(new, [&trade], "one trade was opened, and it is kept");
        trade
    }

    fn talk(&mut self, trade: &str, number: u32) {
        for index in 1..=MESSAGES {
            self.send_up(trade, index, &message("up", number, index));
            self.send_down(trade, index, &message("down", number, index));
        }
        let mut down = Vec::new();
        let mut up = Vec::new();
        while down.len() < MESSAGES as usize || up.len() < MESSAGES as usize {
            self.receive_down(trade, &mut down);
            self.receive_up(trade, &mut up);
        }
        let sent =
            |way, first| (1..=MESSAGES).map(move |i| (i + first - 1, message(way, number, i)));
        assert!(down.iter().cloned().eq(sent("down", 1)), "{down:?}");
        // The opening message is the first of its side.
        assert!(up.iter().cloned().eq(sent("up", 2)), "{up:?}");
    }

    /// Where the answer is lost, the application sees by the count whether the agent has it,
    /// before it sends again.
    fn send_up(&mut self, trade: &str, index: u64, message: &str) {
        let mut is_in_doubt = false;
        self.until("sent up", |ground| {
            if is_in_doubt {
                let sent = u64::from(ground.app.sent(trade).ok()?);
                assert!(sent == index || sent == index + 1, "{sent} are there");
                is_in_doubt = false;
                return (sent == index + 1).then_some(());
            }
            let given = ground.app.send(trade, message);
            is_in_doubt = given.is_err();
            assert_eq!(given.ok()?, index + 1);
            Some(())
        });
    }

    /// A back end names the index, and may ask again.
    fn send_down(&mut self, trade: &str, index: u64, message: &str) {
        let path = self.path(&format!("/trades/{}/messages?index={index}", id(trade)));
        self.until("sent down", |ground| {
            let reply =
                ground.api.try_send("POST", &path, message.as_bytes(), "text/plain").ok()?;
            assert!([201, 404, 500, 503].contains(&reply.status), "{reply:?}");
            (reply.status == 201).then_some(())
        });
    }

    fn receive_down(&mut self, trade: &str, ledger: &mut Vec<(u64, String)>) {
        let after = ledger.last().map_or(0, |(index, _)| *index);
        let received = self.until("received", |ground| ground.app.receive(trade, after).ok());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        ledger.extend(received.into_iter().map(|(index, _, payload)| (index, text(payload))));
    }

    fn receive_up(&mut self, trade: &str, ledger: &mut Vec<(u64, String)>) {
        let after = ledger.last().map_or(0, |(index, _)| *index);
        let path = format!("/trades/{}/messages?after={after}&wait_ms=300", id(trade));
        let path = self.path(&path);
        let received = self.until("received by the back end", |ground| ground.get(&path));
        for message in received["messages"].as_array().unwrap() {
            ledger.push((message["index"].as_u64().unwrap(), payload(message)));
        }
    }

    fn close(&mut self, trade: &str, number: u32) {
        let receipt = self.until("closed", |ground| ground.app.close(trade).ok());
        let path = self.path(&format!("/trades/{}/receipt", id(trade)));
        let servers = self.until("a receipt", |ground| {
            let reply = ground.api.try_send("GET", &path, &[], "").ok()?;
            (reply.status == 200).then_some(reply.body)
        });
        assert_eq!(receipt, servers, "both ends hold one receipt");
        self.until("ended", |ground| {
            ground.app.stage(trade).is_ok_and(|stage| stage == "Ended").then_some(())
        });
        self.settle();
        self.take_inbox(trade, number);
    }

    /// What the back ends were told, of all trades: this one's messages and nothing else, since
    /// those of the trades before were acknowledged.
    fn take_inbox(&mut self, trade: &str, number: u32) {
        let inbox = self.until("an inbox", |ground| ground.get("/api/v1/inbox"));
        let inbox = inbox["messages"].as_array().unwrap();
        let told: Vec<_> =
            inbox.iter().map(|m| (m["trade"].as_str().unwrap(), payload(m))).collect();
        let expected: Vec<_> =
            (1..=MESSAGES).map(|index| (id(trade), message("up", number, index))).collect();
        assert_eq!(told, expected);
        let positions: Vec<_> = inbox.iter().map(|message| &message["position"]).collect();
        let body = serde_json::json!({ "positions": positions }).to_string();
        self.until("acknowledged", |ground| {
            let path = "/api/v1/inbox/acknowledge";
            let reply = ground.api.try_send("POST", path, body.as_bytes(), "application/json");
            (reply.ok()?.status == 200).then_some(())
        });
    }
}

/// The trade's id, out of its path.
fn id(trade: &str) -> &str {
    trade.rsplit('/').next().unwrap()
}

fn message(way: &str, number: u32, index: u64) -> String {
    format!("{way} {number}.{index}")
}

fn payload(message: &serde_json::Value) -> String {
    let bytes = STANDARD.decode(message["payload"].as_str().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}
