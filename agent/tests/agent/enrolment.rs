//! From nothing to an enrolled device.

use twinseal_agent::State;

use crate::world::World;

#[tokio::test]
async fn an_agent_enrols_and_opens_its_first_epoch() {
    let mut world = World::new().await;
    assert_eq!(world.agent().status().state, State::NotEnrolled);
    world.enrol().await.unwrap();
    assert_eq!(world.agent().status().assurance, "tpm-ek");
    assert_eq!(world.agent().status().pending, 0);
    assert_eq!(world.server.device().epoch(), 1);
}
