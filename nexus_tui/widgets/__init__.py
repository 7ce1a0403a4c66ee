"""What the main screen is made of: a pane for each tab, and the parts that panes share."""
