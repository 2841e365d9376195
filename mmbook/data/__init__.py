"""The world of scenes, its pictures and sentences; real corpora; batching."""
