"""Campaigns that attack, mutate, kill and starve what is shipped. The tests run a quick slice of each."""
