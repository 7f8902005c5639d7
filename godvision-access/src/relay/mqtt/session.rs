//! The edge of the MQTT driver: one connection to a broker for one command.
//!
//! Source: *MQTT Version 3.1.1* (OASIS), which every broker speaks; packets by `rumqttc`'s codec. Its event loop is not
//! used: it connects anew by itself and keeps what was not sent, and a command must not be delivered late.
//!
//! **Never:** QoS above 0 or retained commands, which a broker keeps for a device that is away and delivers when nobody
//! expects it any more; a persistent session; TLS.

use std::collections::VecDeque;

use bytes::BytesMut;
use godvision_core::Secret;
use godvision_core::driver::relay::RelayError;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Packet, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use rumqttc::mqttbytes::{Error as PacketError, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dialect::Message;
use crate::relay::endpoint::Endpoint;

/// Largest packet that is read or written.
pub const PACKET_BYTES_MAX: usize = 64 << 10;
/// Most messages that wait while a subscription is confirmed.
pub const WAITING_MAX: usize = 64;
const SUBSCRIPTION: u16 = 1;

/// A user name and its password.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a Secret,
}

/// An open connection.
pub(super) struct Session<'a> {
    endpoint: &'a Endpoint,
    stream: TcpStream,
    received: BytesMut,
    waiting: VecDeque<Message>,
}

impl<'a> Session<'a> {
    /// Says hello on `stream`.
    pub(super) async fn open(
        endpoint: &'a Endpoint,
        stream: TcpStream,
        login: Option<Login<'_>>,
    ) -> Result<Self, RelayError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| endpoint.unreachable(error))?;
        // A client's name must be its own: a broker cuts off the older of two.
        let mut hello =
            Connect::new(random.iter().fold("godvision-".to_owned(), |id, byte| id + &format!("{byte:02x}")));
        if let Some(Login { user, password }) = login {
            hello.set_login(user, password.expose());
        }
        let mut session = Self { endpoint, stream, received: BytesMut::new(), waiting: VecDeque::new() };
        session.send(Packet::Connect(hello)).await?;
        match session.packet().await? {
            Packet::ConnAck(answer) => match answer.code {
                ConnectReturnCode::Success => Ok(session),
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                    Err(endpoint.auth_failed())
                }
                ConnectReturnCode::ServiceUnavailable => Err(endpoint.unreachable("the broker is not available")),
                code => Err(endpoint.rejected(format_args!("the broker refuses the connection: {code:?}"))),
            },
            _ => Err(endpoint.bad_reply("the broker does not answer the connection")),
        }
    }

    pub(super) async fn subscribe(&mut self, topics: Vec<String>) -> Result<(), RelayError> {
        let filters = topics.into_iter().map(|topic| SubscribeFilter::new(topic, QoS::AtMostOnce));
        let mut subscribe = Subscribe::new_many(filters);
        subscribe.pkid = SUBSCRIPTION;
        self.send(Packet::Subscribe(subscribe)).await?;
        loop {
            match self.packet().await? {
                Packet::SubAck(answer) if answer.pkid == SUBSCRIPTION => {
                    let is_refused = answer.return_codes.contains(&SubscribeReasonCode::Failure);
                    let refused =
                        || self.endpoint.rejected("the broker does not let this user read the device's topics");
                    return if is_refused { Err(refused()) } else { Ok(()) };
                }
                Packet::Publish(publish) if self.waiting.len() < WAITING_MAX => self.waiting.push_back(publish.into()),
                Packet::Publish(_) => {}
                _ => return Err(self.endpoint.bad_reply("the broker does not answer the subscription")),
            }
        }
    }

    pub(super) async fn publish(&mut self, topic: String, payload: String) -> Result<(), RelayError> {
        self.send(Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload))).await
    }

    /// The next message.
    pub(super) async fn message(&mut self) -> Result<Message, RelayError> {
        if let Some(message) = self.waiting.pop_front() {
            return Ok(message);
        }
        loop {
            if let Packet::Publish(publish) = self.packet().await? {
                return Ok(publish.into());
            }
        }
    }

    /// Leaves; a broker that does not hear it notices by itself.
    pub(super) async fn close(mut self) {
        let _ = self.send(Packet::Disconnect).await;
    }

    async fn send(&mut self, packet: Packet) -> Result<(), RelayError> {
        let mut bytes = BytesMut::new();
        // Names and payloads come from the configuration: one that is too long stays too long.
        packet
            .write(&mut bytes, PACKET_BYTES_MAX)
            .map_err(|_| self.endpoint.rejected("the command does not fit a packet"))?;
        self.stream.write_all(&bytes).await.map_err(|error| self.endpoint.bad_reply(error))
    }

    async fn packet(&mut self) -> Result<Packet, RelayError> {
        loop {
            match Packet::read(&mut self.received, PACKET_BYTES_MAX) {
                Ok(packet) => return Ok(packet),
                Err(PacketError::InsufficientBytes(_)) => {}
                // Its words may quote what was received.
                Err(_) => return Err(self.endpoint.bad_reply("the broker sent what is no MQTT packet")),
            }
            let count =
                self.stream.read_buf(&mut self.received).await.map_err(|error| self.endpoint.bad_reply(error))?;
            if count == 0 {
                return Err(self.endpoint.bad_reply("the broker closed the connection"));
            }
        }
    }
}

impl From<Publish> for Message {
    fn from(publish: Publish) -> Self {
        Self { topic: publish.topic, payload: publish.payload.to_vec(), is_retained: publish.retain }
    }
}
