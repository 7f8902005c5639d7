//! IP cameras over RTSP: supervised sessions, one timeline, fMP4 fragments, pictures, and a small RTSP server.
