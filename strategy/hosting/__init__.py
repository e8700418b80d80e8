"""Running a Flower app in the app's process."""
