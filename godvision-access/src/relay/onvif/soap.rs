//! The ONVIF messages that a relay needs, as values: envelopes out, elements in.
//!
//! Sources: *ONVIF Core Specification* (device and event services, user authentication, faults), *ONVIF Device IO*
//! (relay outputs), *Web Services Security UsernameToken Profile 1.0* (digest = Base64(SHA-1(nonce + created +
//! password))), SOAP 1.2, WS-Addressing 1.0, WS-BaseNotification 1.3.
//!
//! **Never:** a password in clear (`PasswordText`), a token or nonce used twice.

use godvision_core::driver::relay::Contact;
use godvision_core::{Secret, WallTime};
use sha1::{Digest, Sha1};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::xml::{Element, escaped};

const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";
const EVENTS: &str = "http://www.onvif.org/ver10/events/wsdl";
const NOTIFICATION: &str = "http://docs.oasis-open.org/wsn/b-2";
const SECURITY: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const UTILITY: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const DIGEST: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest";
const BASE64: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

/// Whether an output is closed or open when it is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdleState {
    /// Open when inactive.
    Open,
    /// Closed when inactive.
    Closed,
}

/// A message to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// What time it is there. Needs no password.
    GetSystemDateAndTime,
    /// Where its event service is.
    GetEventCapabilities,
    /// How its outputs are set.
    GetOutputs,
    /// Lets the output return by itself after so many seconds.
    Monostable {
        /// The output.
        token: &'a str,
        /// Its state at rest.
        idle: IdleState,
        /// Seconds.
        seconds: u64,
    },
    /// Lets the output stay as it is set.
    Bistable {
        /// The output.
        token: &'a str,
        /// Its state at rest.
        idle: IdleState,
    },
    /// Moves the output.
    SetState {
        /// The output.
        token: &'a str,
        /// [`Contact::On`] is active.
        contact: Contact,
    },
    /// Asks for events; their first ones tell the present state.
    CreatePullPoint,
    /// Takes events.
    PullMessages,
    /// Wants no more.
    Unsubscribe,
}

impl Message<'_> {
    /// The WS-Addressing action.
    pub fn action(&self) -> String {
        match self {
            Self::GetSystemDateAndTime => format!("{DEVICE}/GetSystemDateAndTime"),
            Self::GetEventCapabilities => format!("{DEVICE}/GetCapabilities"),
            Self::GetOutputs => format!("{DEVICE}/GetRelayOutputs"),
            Self::Monostable { .. } | Self::Bistable { .. } => format!("{DEVICE}/SetRelayOutputSettings"),
            Self::SetState { .. } => format!("{DEVICE}/SetRelayOutputState"),
            Self::CreatePullPoint => format!("{EVENTS}/EventPortType/CreatePullPointSubscriptionRequest"),
            Self::PullMessages => format!("{EVENTS}/PullPointSubscription/PullMessagesRequest"),
            Self::Unsubscribe => "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/UnsubscribeRequest".into(),
        }
    }

    /// The name of the element that answers it.
    pub fn answer(&self) -> &'static str {
        match self {
            Self::GetSystemDateAndTime => "GetSystemDateAndTimeResponse",
            Self::GetEventCapabilities => "GetCapabilitiesResponse",
            Self::GetOutputs => "GetRelayOutputsResponse",
            Self::Monostable { .. } | Self::Bistable { .. } => "SetRelayOutputSettingsResponse",
            Self::SetState { .. } => "SetRelayOutputStateResponse",
            Self::CreatePullPoint => "CreatePullPointSubscriptionResponse",
            Self::PullMessages => "PullMessagesResponse",
            Self::Unsubscribe => "UnsubscribeResponse",
        }
    }

    fn body(&self) -> String {
        let settings = |token: &str, mode: &str, delay: u64, idle: &IdleState| {
            let idle = if *idle == IdleState::Open { "open" } else { "closed" };
            format!(
                "<d:SetRelayOutputSettings xmlns:d=\"{DEVICE}\" xmlns:t=\"http://www.onvif.org/ver10/schema\">\
                 <d:RelayOutputToken>{}</d:RelayOutputToken><d:Properties><t:Mode>{mode}</t:Mode>\
                 <t:DelayTime>PT{delay}S</t:DelayTime><t:IdleState>{idle}</t:IdleState></d:Properties>\
                 </d:SetRelayOutputSettings>",
                escaped(token)
            )
        };
        match self {
            Self::GetSystemDateAndTime => format!("<d:GetSystemDateAndTime xmlns:d=\"{DEVICE}\"/>"),
            Self::GetEventCapabilities => {
                format!("<d:GetCapabilities xmlns:d=\"{DEVICE}\"><d:Category>Events</d:Category></d:GetCapabilities>")
            }
            Self::GetOutputs => format!("<d:GetRelayOutputs xmlns:d=\"{DEVICE}\"/>"),
            Self::Monostable { token, idle, seconds } => settings(token, "Monostable", *seconds, idle),
            // The schema wants a delay here too; it means nothing.
            Self::Bistable { token, idle } => settings(token, "Bistable", 0, idle),
            Self::SetState { token, contact } => format!(
                "<d:SetRelayOutputState xmlns:d=\"{DEVICE}\"><d:RelayOutputToken>{}</d:RelayOutputToken>\
                 <d:LogicalState>{}</d:LogicalState></d:SetRelayOutputState>",
                escaped(token),
                if *contact == Contact::On { "active" } else { "inactive" },
            ),
            // It ends by itself soon: devices keep few.
            Self::CreatePullPoint => format!(
                "<e:CreatePullPointSubscription xmlns:e=\"{EVENTS}\"><e:InitialTerminationTime>PT10S\
                 </e:InitialTerminationTime></e:CreatePullPointSubscription>"
            ),
            Self::PullMessages => format!(
                "<e:PullMessages xmlns:e=\"{EVENTS}\"><e:Timeout>PT1S</e:Timeout><e:MessageLimit>100</e:MessageLimit>\
                 </e:PullMessages>"
            ),
            Self::Unsubscribe => format!("<n:Unsubscribe xmlns:n=\"{NOTIFICATION}\"/>"),
        }
    }

    /// The document to send. Secret: the digest in it lets the password be guessed offline.
    pub fn envelope(&self, security: Option<&str>, to: Option<&EndpointReference>) -> Secret {
        let mut header = security.unwrap_or_default().to_owned();
        if let Some(EndpointReference { address, parameters }) = to {
            header.push_str(&format!(
                "<a:Action xmlns:a=\"http://www.w3.org/2005/08/addressing\">{}</a:Action>\
                 <a:To xmlns:a=\"http://www.w3.org/2005/08/addressing\">{}</a:To>",
                self.action(),
                escaped(address)
            ));
            for (namespace, name, text) in parameters {
                header.push_str(&format!("<{name} xmlns=\"{}\">{}</{name}>", escaped(namespace), escaped(text)));
            }
        }
        Secret::new(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">\
             <s:Header>{header}</s:Header><s:Body>{}</s:Body></s:Envelope>",
            self.body()
        ))
    }
}

/// The header that proves the password: digest of a nonce of 16 random bytes, the device's time, and the password.
pub fn username_token(user: &str, password: &Secret, nonce: [u8; 16], created: WallTime) -> String {
    let created = created.to_string();
    format!(
        "<w:Security xmlns:w=\"{SECURITY}\" s:mustUnderstand=\"1\"><w:UsernameToken><w:Username>{}</w:Username>\
         <w:Password Type=\"{DIGEST}\">{}</w:Password><w:Nonce EncodingType=\"{BASE64}\">{}</w:Nonce>\
         <u:Created xmlns:u=\"{UTILITY}\">{created}</u:Created></w:UsernameToken></w:Security>",
        escaped(user),
        password_digest(password, &nonce, &created),
        STANDARD.encode(nonce),
    )
}

/// Base64 of SHA-1 of nonce, created, password.
pub fn password_digest(password: &Secret, nonce: &[u8], created: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(nonce);
    hash.update(created.as_bytes());
    hash.update(password.expose().as_bytes());
    STANDARD.encode(hash.finalize())
}

/// Where a subscription lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointReference {
    /// Its address, as the device wrote it.
    pub address: String,
    /// What must be sent back with every message: namespace, name, text.
    pub parameters: Vec<(String, String, String)>,
}

impl EndpointReference {
    /// Path and query of the address: the host in it is the device's own idea of its name.
    pub fn path(&self) -> &str {
        path_of(&self.address)
    }
}

/// Path and query of an address.
pub fn path_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("/")
}

/// Why the device refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user name, password, or time in the token.
    NotAuthorized,
    /// Something else, in its words.
    Other(String),
}

/// The refusal in a reply, if it is one.
pub fn refusal(reply: &Element) -> Option<Refusal> {
    let fault = reply.child("Body")?.child("Fault")?;
    let is_about_the_user =
        |element: &Element| element.text.ends_with("NotAuthorized") || element.text.ends_with("FailedAuthentication");
    if fault.all().any(is_about_the_user) {
        return Some(Refusal::NotAuthorized);
    }
    let reason = fault.find("Text").or(fault.find("faultstring")).map(|text| text.text.clone());
    let codes = fault.all().filter(|element| element.name == "Value").map(|value| value.text.as_str());
    Some(Refusal::Other(reason.filter(|text| !text.is_empty()).unwrap_or_else(|| codes.collect::<Vec<_>>().join(" "))))
}

/// The device's time in a `GetSystemDateAndTimeResponse`.
pub fn device_time(reply: &Element) -> Option<WallTime> {
    let utc = reply.find("UTCDateTime")?;
    let number = |name: &str| utc.find(name)?.text.parse::<i16>().ok();
    let small = |name| number(name).and_then(|number| i8::try_from(number).ok());
    let date = jiff::civil::Date::new(number("Year")?, small("Month")?, small("Day")?).ok()?;
    let time = jiff::civil::Time::new(small("Hour")?, small("Minute")?, small("Second")?, 0).ok()?;
    let instant = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(WallTime::from_unix_millis(instant.as_millisecond()))
}

/// How an output is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OutputSettings {
    /// Whether it returns by itself; `None` if the device says something else.
    pub is_monostable: Option<bool>,
    /// After how many seconds, where they are whole and written as such.
    pub seconds: Option<u64>,
    /// Its state at rest.
    pub idle: Option<IdleState>,
}

impl OutputSettings {
    /// Whether `message` would change nothing.
    pub fn are(&self, message: &Message<'_>) -> bool {
        match *message {
            Message::Monostable { idle, seconds, .. } => {
                *self == Self { is_monostable: Some(true), seconds: Some(seconds), idle: Some(idle) }
            }
            Message::Bistable { idle, .. } => self.is_monostable == Some(false) && self.idle == Some(idle),
            _ => false,
        }
    }
}

/// How the output `token` is set, by a `GetRelayOutputsResponse`; `None` if the device has no such output.
pub fn output_settings(reply: &Element, token: &str) -> Option<OutputSettings> {
    let mut outputs = reply.all().filter(|element| element.name == "RelayOutputs");
    let output = outputs.find(|output| output.attribute("token") == Some(token))?;
    let text = |name: &str| output.find(name).map(|element| element.text.trim());
    Some(OutputSettings {
        is_monostable: match text("Mode") {
            Some("Monostable") => Some(true),
            Some("Bistable") => Some(false),
            _ => None,
        },
        seconds: text("DelayTime").and_then(|delay| delay.strip_prefix("PT")?.strip_suffix('S')?.parse().ok()),
        idle: match text("IdleState") {
            Some("open") => Some(IdleState::Open),
            Some("closed") => Some(IdleState::Closed),
            _ => None,
        },
    })
}

/// The address of the event service.
pub fn event_service(reply: &Element) -> Option<String> {
    Some(reply.find("Events")?.child("XAddr")?.text.clone()).filter(|address| !address.is_empty())
}

/// The subscription that was made.
pub fn subscription(reply: &Element) -> Option<EndpointReference> {
    let reference = reply.find("SubscriptionReference")?;
    let address = reference.child("Address")?.text.clone();
    let parameters = reference.child("ReferenceParameters").map(|parameters| parameters.children.as_slice());
    let is_name = |name: &str| name.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it));
    let parameters = parameters
        .unwrap_or_default()
        .iter()
        .filter(|element| is_name(&element.name))
        .map(|element| (element.namespace.clone(), element.name.clone(), element.text.clone()));
    Some(EndpointReference { address, parameters: parameters.collect() })
        .filter(|endpoint| !endpoint.address.is_empty())
}

/// What can be told of in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// `tns1:Device/Trigger/Relay`, by `RelayToken`.
    Relay,
    /// `tns1:Device/Trigger/DigitalInput`, by `InputToken`.
    Input,
}

/// The latest state of `token` in a `PullMessagesResponse`.
///
/// # Errors
/// What is wrong with the state.
pub fn told_state(reply: &Element, told: Told, token: &str) -> Result<Option<Contact>, &'static str> {
    let (topic, key) = match told {
        Told::Relay => ("Device/Trigger/Relay", "RelayToken"),
        Told::Input => ("Device/Trigger/DigitalInput", "InputToken"),
    };
    let mut latest = None;
    for notification in reply.all().filter(|element| element.name == "NotificationMessage") {
        let is_topic = notification.child("Topic").is_some_and(|it| it.text.ends_with(topic));
        let item = |name: &str| {
            let items = notification.all().filter(|element| element.name == "SimpleItem");
            items.into_iter().find(|item| item.attribute("Name") == Some(name))?.attribute("Value")
        };
        if is_topic && item(key) == Some(token) {
            latest = Some(match item("LogicalState") {
                Some("active" | "true" | "1") => Contact::On,
                Some("inactive" | "false" | "0") => Contact::Off,
                _ => return Err("the state is neither active nor inactive"),
            });
        }
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the ONVIF application programmer's guide: nonce LKqI6G/AikKCQrN0zqZFlg==, user's password "userpassword".
    #[test]
    fn the_digest_of_the_programmers_guide() {
        let nonce = STANDARD.decode("LKqI6G/AikKCQrN0zqZFlg==").unwrap();
        let digest = password_digest(&"userpassword".into(), &nonce, "2010-09-16T07:50:45Z");
        assert_eq!(digest, "tuOSpGlFlIXsozq4HFNeeGeFLEI=");
    }

    #[test]
    fn messages_are_documents() {
        for message in [
            Message::GetSystemDateAndTime,
            Message::GetEventCapabilities,
            Message::GetOutputs,
            Message::Monostable { token: "a<&>", idle: IdleState::Closed, seconds: 3 },
            Message::Bistable { token: "a", idle: IdleState::Open },
            Message::SetState { token: "a", contact: Contact::On },
            Message::CreatePullPoint,
            Message::PullMessages,
            Message::Unsubscribe,
        ] {
            let endpoint = EndpointReference {
                address: "http://x/?a=1&b=2".into(),
                parameters: vec![("urn:p&q".into(), "Id".into(), "<7>".into())],
            };
            let token = username_token("ad&min", &"secret".into(), [7; 16], WallTime::from_unix_seconds(0));
            let text = message.envelope(Some(&token), Some(&endpoint));
            let root = Element::parse(text.expose().as_bytes()).unwrap();
            assert_eq!(root.find("Username").unwrap().text, "ad&min");
            assert_eq!(root.find("Created").unwrap().text, "1970-01-01T00:00:00.000Z");
            assert_eq!(root.find("To").unwrap().text, "http://x/?a=1&b=2");
            assert_eq!(root.find("Id").unwrap().namespace, "urn:p&q");
            assert_eq!(format!("{}Response", root.child("Body").unwrap().children[0].name), message.answer());
            assert!(!text.expose().contains("secret"));
        }
    }

    #[test]
    fn replies_are_read() {
        let time = Element::parse(
            b"<E><Body><R><SystemDateAndTime><UTCDateTime><Time><Hour>7</Hour><Minute>50</Minute><Second>45</Second>\
              </Time><Date><Year>2010</Year><Month>9</Month><Day>16</Day></Date></UTCDateTime></SystemDateAndTime></R>\
              </Body></E>",
        );
        assert_eq!(device_time(&time.unwrap()).unwrap().to_string(), "2010-09-16T07:50:45.000Z");
        assert_eq!(
            (path_of("http://10.0.0.1:8080/onvif/e?x=1"), path_of("http://x"), path_of("/y")),
            ("/onvif/e?x=1", "/", "/y")
        );
        let fault = |code: &str| {
            let text = format!(
                "<E><Body><Fault><Code><Value>s:Sender</Value><Subcode><Value>{code}</Value></Subcode></Code>\
                 <Reason><Text>no such token</Text></Reason></Fault></Body></E>"
            );
            refusal(&Element::parse(text.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(fault("ter:NotAuthorized"), Refusal::NotAuthorized);
        assert_eq!(fault("ter:InvalidArgVal"), Refusal::Other("no such token".into()));
    }

    #[test]
    fn the_settings_of_the_right_output_are_read() {
        let reply = Element::parse(
            b"<R><t:RelayOutputs xmlns:t='u' token='a'><t:Properties><t:Mode>Bistable</t:Mode><t:DelayTime>PT0S</t:DelayTime>\
              <t:IdleState>closed</t:IdleState></t:Properties></t:RelayOutputs><RelayOutputs token='b'><Properties>\
              <Mode>Monostable</Mode><DelayTime>PT5S</DelayTime><IdleState>open</IdleState></Properties></RelayOutputs>\
              <RelayOutputs token='c'><Properties><DelayTime>P1D</DelayTime></Properties></RelayOutputs></R>",
        );
        let reply = reply.unwrap();
        let settings = |token| output_settings(&reply, token);
        let (a, b) = (settings("a").unwrap(), settings("b").unwrap());
        assert_eq!((a.is_monostable, a.idle), (Some(false), Some(IdleState::Closed)));
        assert!(a.are(&Message::Bistable { token: "a", idle: IdleState::Closed }));
        assert!(!a.are(&Message::Bistable { token: "a", idle: IdleState::Open }));
        assert!(b.are(&Message::Monostable { token: "b", idle: IdleState::Open, seconds: 5 }));
        assert!(!b.are(&Message::Monostable { token: "b", idle: IdleState::Open, seconds: 6 }));
        assert!(!b.are(&Message::Bistable { token: "b", idle: IdleState::Open }));
        assert_eq!((settings("c"), settings("d")), (Some(OutputSettings::default()), None));
    }

    #[test]
    fn the_latest_state_of_the_right_token_counts() {
        let told = |items: &[(&str, &str, &str)]| {
            let messages: String = items
                .iter()
                .map(|(topic, token, state)| {
                    format!(
                        "<n:NotificationMessage><n:Topic>tns1:Device/Trigger/{topic}</n:Topic><n:Message><t:Message>\
                         <t:Source><t:SimpleItem Name=\"RelayToken\" Value=\"{token}\"/></t:Source><t:Data>\
                         <t:SimpleItem Name=\"LogicalState\" Value=\"{state}\"/></t:Data></t:Message></n:Message>\
                         </n:NotificationMessage>"
                    )
                })
                .collect();
            told_state(&Element::parse(format!("<R>{messages}</R>").as_bytes()).unwrap(), Told::Relay, "2")
        };
        assert_eq!(told(&[("Relay", "1", "active"), ("DigitalInput", "2", "active")]), Ok(None));
        assert_eq!(told(&[("Relay", "2", "active"), ("Relay", "2", "inactive")]), Ok(Some(Contact::Off)));
        assert_eq!(told(&[("Relay", "2", "maybe")]), Err("the state is neither active nor inactive"));
    }
}
