"""The words of the DeepDetect API: requests, answers and the protocols that speak them."""
