source PLANTED
