"""The programs of one host: broker, dispatcher, workers, Flower, started and tended by one command."""
