"""Draw label maps, heat maps, feature maps, views, videos and the toy world."""
